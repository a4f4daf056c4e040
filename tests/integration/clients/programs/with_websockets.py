import asyncio
import os

import websockets


async def talk():
    headers = {"Authorization": f"Bearer {os.environ['API_TOKEN']}"}
    async with websockets.connect("wss://ws.example.test/talk", extra_headers=headers) as connection:
        await connection.send("who am I?")
        print(await connection.recv())
        print((await connection.recv()).decode())
        await connection.send(b"bytes" * 10000)
        print(len(await connection.recv()))


asyncio.run(talk())
