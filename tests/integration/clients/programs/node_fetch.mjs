const answer = await fetch("https://api.example.test/node", {
    method: "POST",
    body: "from node",
    headers: { Authorization: `Bearer ${process.env.API_TOKEN}` },
});
if (!answer.ok) throw new Error(`${answer.status}`);
console.log(answer.headers.get("x-you-are"), await answer.text());
