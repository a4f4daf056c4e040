gh auth status
gh api user --jq .login
gh api -i repos/ada/demo
gh api --paginate repos/ada/demo/pulls --jq '.[].title'
gh api graphql -f query='{ viewer { login token } }'
gh pr list --repo ada/demo --json number,title
gh issue create --repo ada/demo --title "It does not work" --body "It should."
