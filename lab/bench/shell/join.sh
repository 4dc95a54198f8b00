#!/bin/sh
# The classic job, as a careful administrator writes it: facts from IMDS, an assertion signed with openssl, the bundle
# unpacked with jq and checked, Chrystoki.conf edited with sed, the tool asked, the verifier told. One curl for each
# question. It proves less than the agent (no live AWS credentials) and nothing in its answer is sealed.
set -eu
umask 077
imds=$IMDS vp=$VERIFIER ca=$CA root=$ROOT
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
curl='curl -sSf --max-time 20'

token=$($curl -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$imds/latest/api/token")
item() { $curl -H "X-aws-ec2-metadata-token: $token" "$imds/latest/$1"; }
instance_id=$(item meta-data/instance-id)
instance_type=$(item meta-data/instance-type)
reservation_id=$(item meta-data/reservation-id)
local_hostname=$(item meta-data/local-hostname)
public_hostname=$(item meta-data/public-hostname)
local_ipv4=$(item meta-data/local-ipv4)
image_id=$(item meta-data/ami-id)
region=$(item meta-data/placement/region)
role=$(item meta-data/iam/security-credentials/)
document=$(item dynamic/instance-identity/document)
rsa2048=$(item dynamic/instance-identity/rsa2048 | tr -d '\n')
account=$(printf %s "$document" | jq -r .accountId)

nonce=$($curl --cacert "$ca" "$vp/challenge" | jq -r .nonce)
openssl ecparam -genkey -name prime256v1 -noout -out "$work/owner.key" 2>/dev/null
public=$(openssl ec -in "$work/owner.key" -pubout 2>/dev/null)
jq -n --arg nonce "$nonce" --arg id "$instance_id" --arg type "$instance_type" --arg reservation "$reservation_id" \
    --arg host "$local_hostname" --arg public_host "$public_hostname" --arg ip "$local_ipv4" --arg image "$image_id" \
    --arg region "$region" --arg role "$role" --arg account "$account" --arg iid "$rsa2048" --arg key "$public" \
    '{nonce: $nonce, id: $id, type: $type, reservation: $reservation, host: $host, public_host: $public_host, ip: $ip,
      image: $image, region: $region, role: $role, account: $account, iid: $iid, key: $key}' >"$work/assertion"
openssl dgst -sha256 -sign "$work/owner.key" -out "$work/signature" "$work/assertion"
$curl --cacert "$ca" -H "X-Signature: $(base64 -w0 "$work/signature")" --data-binary "@$work/assertion" \
    "$vp/enrolments" >"$work/bundle"

name=$(jq -r .client.name "$work/bundle")
luna=$root/usr/safenet/lunaclient
jq -r .client.certificate "$work/bundle" >"$work/client.pem"
jq -r .client.private_key "$work/bundle" >"$work/client.key"
jq -r '.servers[].certificate' "$work/bundle" >"$work/CAFile.pem"
openssl x509 -in "$work/client.pem" -noout -checkend 0 >/dev/null
[ "$(openssl x509 -in "$work/client.pem" -noout -pubkey)" = "$(openssl pkey -in "$work/client.key" -pubout)" ]
mkdir -p "$luna/cert/client" "$luna/cert/server"
install -m 644 "$work/client.pem" "$luna/cert/client/$name.pem"
install -m 600 "$work/client.key" "$luna/cert/client/${name}Key.pem"
install -m 644 "$work/CAFile.pem" "$luna/cert/server/CAFile.pem"

conf=$root/etc/Chrystoki.conf
label=$(jq -r .ha.label "$work/bundle")
members=$(jq -r '.ha.members | join(",")' "$work/bundle")
servers=$(jq -r '.servers | to_entries[] | "   ServerName0\(.key) = \(.value.address);\\n   ServerPort0\(.key) = \(.value.port);\\n"' \
    "$work/bundle" | tr -d '\n')
sed -e "s|^ *ClientPrivKeyFile *=.*|   ClientPrivKeyFile = $luna/cert/client/${name}Key.pem;|" \
    -e "s|^ *ServerCAFile *=.*||" \
    -e "s|^ *ClientCertFile *=.*|   ClientCertFile = $luna/cert/client/$name.pem;\n   ServerCAFile = $luna/cert/server/CAFile.pem;\n$servers|" \
        "$conf" >"$conf.new"
printf 'VirtualToken = {\n   VirtualToken00Label = %s;\n   VirtualToken00Members = %s;\n}\n' "$label" "$members" \
    >>"$conf.new"
printf 'HASynchronize = {\n   %s = 1;\n}\nHAConfiguration = {\n   HAOnly = 1;\n}\n' "$label" >>"$conf.new"
sync "$conf.new"
mv "$conf.new" "$conf"
"$VTL" verify >/dev/null
"$VTL" haAdmin show | grep -q "$label"

mkdir -p "$root/var/lib/join"
(cd "$root" && sha256sum etc/Chrystoki.conf usr/safenet/lunaclient/cert/client/* usr/safenet/lunaclient/cert/server/CAFile.pem) \
    >"$root/var/lib/join/digests"
jq -n --arg id "$instance_id" --arg group "$label" --argjson serial "$(jq .serial "$work/bundle")" \
    '{id: $id, label: $group, serial: $serial}' >"$root/var/lib/join/record.json"
jq -n --arg id "$instance_id" '{id: $id, result: "installed"}' >"$work/receipt"
openssl dgst -sha256 -sign "$work/owner.key" -out "$work/signature" "$work/receipt"
$curl --cacert "$ca" -H "X-Signature: $(base64 -w0 "$work/signature")" --data-binary "@$work/receipt" "$vp/receipts"
