# The host is allowed, this repository is not.
cd /workspace/demo
git submodule update --init private
