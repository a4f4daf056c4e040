# One by its address, one beside the repository, one whose address has to be written anew.
cd /workspace/demo
git submodule update --init part beside
git config --global url."https://git.example.test/".insteadOf git@git.example.test:
git submodule update --init by-ssh
cat part/part.txt beside/part.txt by-ssh/part.txt
git submodule status part beside by-ssh
