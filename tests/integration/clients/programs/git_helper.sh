# The token from a credential helper: git asks without one first, and again when it is told to.
git config --global credential.https://git.example.test.helper \
    '!f() { test "$1" = get && printf "username=ci\npassword=%s\n" "$GIT_TOKEN"; }; f'
git clone -q https://git.example.test/demo.git cloned
cd cloned
git commit -q --allow-empty -m "By a helper"
git push -q origin HEAD:refs/heads/by-a-helper
git ls-remote origin refs/heads/by-a-helper
