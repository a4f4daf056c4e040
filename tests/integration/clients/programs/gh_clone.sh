# gh as git's credential helper.
gh auth setup-git --hostname github.com
gh repo clone ada/demo
cd demo
git commit -q --allow-empty -m "By gh"
git push -q origin HEAD:refs/heads/by-gh
git ls-remote origin refs/heads/by-gh
