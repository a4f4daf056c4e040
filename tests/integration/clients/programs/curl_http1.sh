curl -sSi --fail --http1.1 -H "Authorization: Bearer $API_TOKEN" 'https://api.example.test/curl1?q=1'
