curl -sSi --fail --http2 --compressed -H "Authorization: Bearer $API_TOKEN" -d 'from curl' https://api.example.test/curl2
