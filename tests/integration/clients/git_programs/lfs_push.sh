# By a command of its own, then as a part of a push.
cd /workspace/demo
git switch -qc from-the-sandbox
head -c 3000000 /dev/urandom > new.bin
git add new.bin
git commit -qm "A large file"
# Without a terminal it tells its progress only now and then.
export GIT_LFS_FORCE_PROGRESS=1
git lfs push origin HEAD
echo small > small.bin
git add small.bin
git commit -qm "A small one"
git push -q origin HEAD
sha256sum new.bin small.bin
