#!/bin/sh
# The same job by somebody who counts processes: one curl for all of IMDS, one for challenge, one for each message, as
# few jq and openssl as will do.
set -eu
umask 077
imds=$IMDS vp=$VERIFIER ca=$CA root=$ROOT luna=$ROOT/usr/safenet/lunaclient
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

token=$(curl -sSf --max-time 20 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$imds/latest/api/token")
printf 'header = "X-aws-ec2-metadata-token: %s"\n' "$token" >"$work/curlrc"
for item in meta-data/instance-id meta-data/instance-type meta-data/reservation-id meta-data/local-hostname \
    meta-data/public-hostname meta-data/local-ipv4 meta-data/ami-id meta-data/placement/region \
    meta-data/iam/security-credentials/ dynamic/instance-identity/document dynamic/instance-identity/rsa2048; do
    name=${item%/}
    printf 'url = "%s/latest/%s"\noutput = "%s/%s"\n' "$imds" "$item" "$work" "${name##*/}" >>"$work/curlrc"
done
curl -sSf --max-time 20 -K "$work/curlrc"
curl -sSf --max-time 20 --cacert "$ca" -o "$work/challenge" "$vp/challenge"
openssl ecparam -genkey -name prime256v1 -noout -out "$work/owner.key" 2>/dev/null
openssl pkey -in "$work/owner.key" -pubout -out "$work/owner.pub"
cd "$work"
jq -n --slurpfile challenge challenge --slurpfile document document --rawfile id instance-id \
    --rawfile type instance-type --rawfile reservation reservation-id --rawfile host local-hostname \
    --rawfile public_host public-hostname --rawfile ip local-ipv4 --rawfile image ami-id --rawfile region region \
    --rawfile role security-credentials --rawfile iid rsa2048 --rawfile key owner.pub \
    '{nonce: $challenge[0].nonce, id: $id, type: $type, reservation: $reservation, host: $host,
      public_host: $public_host, ip: $ip, image: $image, region: $region, role: $role,
      account: $document[0].accountId, iid: $iid, key: $key}' >assertion
curl -sSf --max-time 20 --cacert "$ca" -H "X-Signature: $(openssl dgst -sha256 -sign owner.key assertion | base64 -w0)" \
    --data-binary @assertion -o bundle "$vp/enrolments"

eval "$(jq -r '@sh "name=\(.client.name) certificate=\(.client.certificate) key=\(.client.private_key)
    authorities=\([.servers[].certificate] | add) label=\(.ha.label) members=\(.ha.members | join(",")) serial=\(.serial)
    servers=\([.servers | to_entries[] | "   ServerName0\(.key) = \(.value.address);\\n   ServerPort0\(.key) = \(.value.port);\\n"] | add)"' bundle)"
printf '%s' "$certificate" >client.pem
printf '%s' "$key" >client.key
openssl x509 -in client.pem -noout -checkend 0 -pubkey -out certificate.pub >/dev/null
openssl pkey -in client.key -pubout -out key.pub
echo 'Certificate will not expire' >>key.pub # which x509 has said at the end of its own file
cmp -s certificate.pub key.pub
mkdir -p "$luna/cert/client" "$luna/cert/server"
printf '%s' "$certificate" >"$luna/cert/client/$name.pem"
printf '%s' "$key" >"$luna/cert/client/${name}Key.pem"
printf '%s' "$authorities" >"$luna/cert/server/CAFile.pem"
chmod 644 "$luna/cert/client/$name.pem" "$luna/cert/server/CAFile.pem"

conf=$root/etc/Chrystoki.conf
{
    sed -e "s|^ *ClientPrivKeyFile *=.*|   ClientPrivKeyFile = $luna/cert/client/${name}Key.pem;|" \
        -e "s|^ *ServerCAFile *=.*||" \
        -e "s|^ *ClientCertFile *=.*|   ClientCertFile = $luna/cert/client/$name.pem;\n   ServerCAFile = $luna/cert/server/CAFile.pem;\n$servers|" \
        "$conf"
    printf 'VirtualToken = {\n   VirtualToken00Label = %s;\n   VirtualToken00Members = %s;\n}\n' "$label" "$members"
    printf 'HASynchronize = {\n   %s = 1;\n}\nHAConfiguration = {\n   HAOnly = 1;\n}\n' "$label"
} >"$conf.new"
sync "$conf.new"
mv "$conf.new" "$conf"
"$VTL" verify >/dev/null
case $("$VTL" haAdmin show) in *"$label"*) ;; *) exit 1 ;; esac

mkdir -p "$root/var/lib/join"
cd "$root"
sha256sum etc/Chrystoki.conf usr/safenet/lunaclient/cert/client/* usr/safenet/lunaclient/cert/server/CAFile.pem \
    >var/lib/join/digests
read -r instance_id <"$work/instance-id" || :
printf '{"id": "%s", "label": "%s", "serial": %s}\n' "$instance_id" "$label" "$serial" >var/lib/join/record.json
printf '{"id": "%s", "result": "installed"}' "$instance_id" >"$work/receipt"
curl -sSf --max-time 20 --cacert "$ca" -H "X-Signature: $(openssl dgst -sha256 -sign "$work/owner.key" "$work/receipt" | base64 -w0)" \
    --data-binary "@$work/receipt" "$vp/receipts"
