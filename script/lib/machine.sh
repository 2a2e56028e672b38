# What the scripts need of the machine: packages, a Python, virtual environments, one npm package, promtool.
# Sourced, not run. Everything made here stands in one folder outside the tree, which may be deleted at any time.

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/astguard
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C.UTF-8 PIP_CACHE_DIR=$CACHE/pip PIP_DISABLE_PIP_VERSION_CHECK=1 npm_config_cache=$CACHE/npm
export MYPY_CACHE_DIR=$CACHE/mypy RUFF_CACHE_DIR=$CACHE/ruff ASTGUARD_CACHE=$CACHE
mkdir -p "$CACHE"

say() { printf '%s: %s\n' "${0##*/}" "$*"; }

# need COMMAND=PACKAGE...: install the Debian packages whose command is missing; the lists are read only then.
need() {
    local pair missing=()
    for pair; do command -v "${pair%%=*}" > /dev/null || missing+=("${pair#*=}"); done
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    if [ "$(id -u)" -ne 0 ]; then say "not root, so these stay missing: ${missing[*]}"; return; fi
    say "installing ${missing[*]}"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "${missing[@]}" > "$CACHE/apt.log" 2>&1 ||
        { tail -n 20 "$CACHE/apt.log"; return 1; }
}

# find_python: Debian's own Python where it is new enough, else the first on PATH that is.
find_python() {
    local python
    for python in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
            command -v "$python"
            return
        fi
    done
    say "no Python 3.11 or newer with venv found; Debian has it as python3 and python3-venv" >&2
    return 1
}

# make_venv NAME REQUIREMENTS: $CACHE/venv-NAME, brought up to date when the file has changed, made anew when the Python
# has. What runs in it meanwhile keeps its libraries: only what the file asks for otherwise is touched.
make_venv() {
    local venv=$CACHE/venv-$1 python recipe
    python=$(find_python) || return 1
    recipe=$( (cat "$2" && "$python" -VV) | sha256sum)
    if [ "$(cat "$venv/made-from" 2> /dev/null)" = "$recipe" ]; then return; fi
    say "making the Python environment '$1' from $2"
    if grep -q '^python-iptables' "$2"; then need cc=gcc python3-config=python3-dev; fi # it has no wheel: pip compiles it
    if [ ! -e "$venv/made-from" ] || [ "$("$venv/bin/python" -VV 2> /dev/null)" != "$("$python" -VV)" ]; then
        rm -rf "$venv" && "$python" -m venv "$venv" || return 1
    fi
    "$venv/bin/pip" -qq install --requirement "$2" && printf '%s\n' "$recipe" > "$venv/made-from"
}

# make_promtool: $CACHE/prometheus/promtool, out of Debian's package. It is not installed, or a server would start.
make_promtool() {
    local folder=$CACHE/prometheus
    if [ -x "$folder/promtool" ]; then return; fi
    say "unpacking promtool from the package prometheus"
    if [ "$(id -u)" -eq 0 ]; then apt-get -qq update; fi
    rm -rf "$folder" && mkdir -p "$folder/.new" &&
        (cd "$folder/.new" && apt-get -qq -o APT::Sandbox::User=root download prometheus && dpkg-deb --extract prometheus_*.deb .) &&
        mv "$folder/.new/usr/bin/promtool" "$folder" && rm -rf "$folder/.new"
}

# make_node PACKAGE.JSON: $CACHE/node with the pinned npm package, the StatsD server the meters are tested against.
make_node() {
    local node=$CACHE/node
    if cmp -s "$1" "$node/package.json" && [ -d "$node/node_modules" ]; then return; fi
    say "installing the npm package of $1"
    rm -rf "$node" && mkdir -p "$node/.new" && cp "$1" "$node/.new" &&
        npm --prefix "$node/.new" install --silent --omit=optional --no-audit --no-fund --ignore-scripts &&
        mv "$node/.new/"* "$node" && rm -rf "$node/.new"
}
