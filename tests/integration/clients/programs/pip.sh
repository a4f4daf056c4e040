export PIP_INDEX_URL="https://ci:$PYPI_TOKEN@pypi.example.test/simple/" PIP_DISABLE_PIP_VERSION_CHECK=1
pip install --no-cache-dir --root-user-action=ignore --break-system-packages airut-demo
python3 -c 'import airut_demo; print(airut_demo.SAID)'
