echo '{"name": "app", "version": "1.0.0"}' > package.json
cat > .npmrc <<'NPMRC'
@airut:registry=https://npm.example.test/
//npm.example.test/:_authToken=${NPM_TOKEN}
NPMRC
npm install --no-audit --no-fund --no-update-notifier @airut/demo
node -e "console.log(require('@airut/demo'))"
