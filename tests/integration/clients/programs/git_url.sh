# The token in the URL, as CI does it.
git clone -q "https://ci:$GIT_TOKEN@git.example.test/demo.git" cloned
cd cloned
git switch -qc from-the-sandbox
seq 100000 > numbers.txt
git add numbers.txt
git commit -qm "Numbers"
git push -q origin from-the-sandbox
git fetch -q origin
git diff --quiet from-the-sandbox origin/from-the-sandbox
git ls-remote origin refs/heads/from-the-sandbox
