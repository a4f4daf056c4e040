"""What GitHub's API answers to the questions that `gh` asks here."""

from collections.abc import Mapping
from typing import Any

_URL = "https://github.com/ada/demo"
_REPOSITORY = {
    "id": "R_kgDOABCDEF",
    "name": "demo",
    "owner": {"id": "U_kgDOABCDEF", "login": "ada"},
    "description": "",
    "hasIssuesEnabled": True,
    "hasWikiEnabled": False,
    "viewerPermission": "WRITE",
    "defaultBranchRef": {"name": "main"},
    "parent": None,
    "mergeCommitAllowed": True,
    "rebaseMergeAllowed": True,
    "squashMergeAllowed": True,
}
_PAGE_2 = '<https://api.github.com/repositories/1/pulls?page=2>; rel="next"'


def answer_rest(target: str, token: str) -> tuple[object, list[tuple[str, str]]] | None:
    """Body and header fields; None where nothing is."""
    path, _, query = target.partition("?")
    match path:
        case "/":
            return {}, [("x-oauth-scopes", "repo, read:org, gist")]
        case "/user":
            return {"login": "ada", "token": token}, []
        case "/repos/ada/demo":
            clone = f"https://x-access-token:{token}@github.com/ada/demo.git"
            return {"name": "demo", "temp_clone_token": token, "clone_url": clone}, [("x-you-are", token)]
        case "/repos/ada/demo/pulls" | "/repositories/1/pulls":
            page = 2 if "page=2" in query.split("&") else 1
            return [{"number": page, "title": f"Pull request {page}"}], [("link", _PAGE_2)] * (page == 1)
    return None


def answer_graphql(asked: Mapping[str, Any], token: str) -> object:
    """The whole answer to a request's JSON body."""
    query: str = asked["query"]
    if "createIssue" in query:
        given = asked["variables"]["input"]
        if (given["repositoryId"], given["title"]) != (_REPOSITORY["id"], "It does not work"):
            return {"errors": [{"message": f"not what was to be created: {given}"}]}
        return {"data": {"createIssue": {"issue": {"id": "I_1", "url": f"{_URL}/issues/7"}}}}
    if "pullRequests" in query:
        pulls = [{"number": 3, "title": f"Rotate {token}"}]
        page = {"hasNextPage": False, "endCursor": ""}
        return {"data": {"repository": {"pullRequests": {"totalCount": 1, "nodes": pulls, "pageInfo": page}}}}
    if "viewer" in query and "repository" not in query:
        # What was not asked for is an error to `gh`.
        more = {"token": token} if "token" in query else {}
        return {"data": {"viewer": {"login": "ada"} | more}}
    return {"data": {"repository": _REPOSITORY}}
