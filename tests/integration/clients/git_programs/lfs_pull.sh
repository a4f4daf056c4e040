# In the workspace as the host made it.
cd /workspace/demo
cat large.bin
git lfs pull
sha256sum large.bin stored.bin
git status --porcelain
