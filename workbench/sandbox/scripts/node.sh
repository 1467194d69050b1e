#!/bin/sh
# Inside of the sandbox: what its processes look for below /etc, a key for service accounts, and the node's address.
# Arguments: the sandbox's state, and that address.
set -eu
state=$1 address=$2
mkdir -p "$state/pki" "$state/tmp" /etc/cni/net.d /etc/containerd/certs.d/_default
key=$state/pki/service-account.key
if [ ! -e "$key" ]; then
    openssl genrsa -out "$key.new" 2048 2> /dev/null
    mv "$key.new" "$key" # by one rename: a key cut short by a kill would stay
fi
cp "$state/config/cni.json" /etc/cni/net.d/10-pods.conflist
cp "$state/config/hosts.toml" /etc/containerd/certs.d/_default/hosts.toml
ip addr replace "$address/32" dev lo
