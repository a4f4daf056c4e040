# Of another host, which has a credential of its own.
cd /workspace/demo
git -c url."https://x-access-token:$THEME_TOKEN@other.example.test/".insteadOf=https://other.example.test/ \
    submodule update --init theme
cat theme/part.txt
