cd /workspace/demo
git submodule update --init unknown
