#!/usr/bin/env bash
# Installs what the interop tests talk to: libutp as npm's utp-native (which ships its binary), npm's utp-punch,
# libtorrent as Debian's python3-libtorrent (for Debian's own /usr/bin/python3), and Wireshark's tshark. Needs root only
# for what is missing of Debian's. Does nothing when everything is there.
set -euo pipefail
cd "$(dirname "$0")"

debian=()
[[ -x /usr/bin/python3 ]] && /usr/bin/python3 -c 'import libtorrent' 2>/dev/null || debian+=(python3-libtorrent)
command -v tshark >/dev/null || debian+=(tshark)
command -v node >/dev/null && command -v npm >/dev/null || debian+=(nodejs npm)
if ((${#debian[@]})); then
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	apt-get install -qq -y --no-install-recommends "${debian[@]}" >/dev/null
fi

# The name begins with a dot so that the go command does not look into it.
for package in utp-native@2.5.3 utp-punch@1.0.1; do
	manifest=.peers/node_modules/${package%@*}/package.json
	if ! grep -qs "\"version\": \"${package#*@}\"" "$manifest"; then
		mkdir -p .peers
		npm install --prefix .peers --no-save --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error \
			utp-native@2.5.3 utp-punch@1.0.1
		break
	fi
done

printf 'node %s, utp-native 2.5.3, utp-punch 1.0.1, libtorrent %s, %s\n' "$(node --version)" \
	"$(/usr/bin/python3 -c 'import libtorrent; print(libtorrent.__version__)')" "$(tshark --version 2>/dev/null | head -n 1)"
