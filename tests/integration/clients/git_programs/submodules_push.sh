# The allowlist opens what it takes to fetch.
cd /workspace/demo/part
git switch -qc from-the-sandbox
git commit -q --allow-empty -m "A change"
git push origin HEAD
