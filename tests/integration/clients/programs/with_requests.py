import os

import requests

with requests.Session() as session:
    session.headers["Authorization"] = f"Bearer {os.environ['API_TOKEN']}"
    for _ in range(3):
        answer = session.post("https://api.example.test/requests", data="from requests")
        answer.raise_for_status()
print(answer.headers["x-you-are"], answer.text)
