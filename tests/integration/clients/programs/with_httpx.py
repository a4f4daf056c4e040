import os

import httpx

with httpx.Client(headers={"Authorization": f"Bearer {os.environ['API_TOKEN']}"}) as client:
    answer = client.post("https://api.example.test/httpx", content=b"from httpx")
    answer.raise_for_status()
print(answer.headers["x-you-are"], answer.text)
