# The server says that this object is somewhere else. Without the setting it is asked for nine times.
cd /workspace/demo
git -c lfs.transfer.maxretries=1 lfs fetch origin origin/away
