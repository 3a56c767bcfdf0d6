#!/bin/bash
# What an operator does on a real host, one boot after the other. Each step prints
# one line that the other side of the serial line counts.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
cd /root || exit 1

step() {
    local name=$1
    shift
    if "$@"; then echo "SHIPWAY-SUITE passed gate: $name"; else
        echo "SHIPWAY-SUITE FAILED gate: $name"
        journalctl -u shipway -n 60 --no-pager
    fi
}

# Tries a command until it succeeds, for so many seconds.
within() {
    local limit=$((SECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ $SECONDS -lt $limit ] || return 1
        sleep 0.2
    done
}

visit() { curl -fsS -m 20 -H "Host: $1.localhost" http://127.0.0.1:8080/; }
main_pid() { systemctl show -p MainPID --value shipway; }
hello_is() { [ "$(visit hello)" = "$1" ]; }
ready() { curl -fsS -m 5 -o /dev/null -H 'Host: localhost' http://127.0.0.1:8080/readyz; }

# Visits all the time; whatever is not answered is written down.
begin_load() {
    rm -f stop failures
    : > visits
    (while [ ! -e stop ]; do if visit hello >> visits 2> last; then :; else cat last >> failures; fi; done) &
    load=$!
}

# Whether there were visits, and every one was answered.
end_load() {
    touch stop
    wait $load
    echo "$(wc -l < visits) visits, $(cat failures 2> /dev/null | wc -l) failures"
    head -3 failures 2> /dev/null
    [ "$(wc -l < visits)" -gt 5 ] && [ ! -s failures ]
}

# The first time the host image is made, by a debug build in an emulated machine.
install_it() { /shipway/shipway install && systemctl is-active --quiet shipway && within 300 ready; }

deploy_it() {
    printf '#!/bin/sh\necho hello\n' > hello.sh
    shipway deploy hello.sh --script --name hello && hello_is hello
}

restart_under_load() {
    begin_load
    for _ in 1 2 3; do systemctl restart shipway || return 1; done
    within 60 ready
    end_load
}

killed_under_load() {
    begin_load
    local before
    before=$(main_pid)
    kill -9 "$before"
    within 60 ready
    within 30 [ "$(main_pid)" != "$before" ]
    end_load && systemctl is-active --quiet shipway
}

runs() { [ "$(stat -L -c %s "/proc/$(main_pid)/exe")" = "$(stat -c %s "$1")" ]; }

upgrade_under_load() {
    begin_load
    shipway upgrade --to /shipway/next && runs /shipway/next && within 30 ready
    local went=$?
    end_load && [ $went = 0 ] && systemctl is-active --quiet shipway
}

# The main process is not the one that systemd started: does it notice its end?
killed_after_upgrade() {
    local before
    before=$(main_pid)
    kill -9 "$before"
    within 30 ready && [ "$(main_pid)" != "$before" ] && runs /shipway/next
}

bad_upgrade_refused() {
    ! shipway upgrade --to /etc/hostname && ! shipway upgrade --to /bin/true && ready && runs /shipway/next
}

downgrade_by_reload() {
    begin_load
    cp /shipway/shipway /usr/local/bin/shipway.new && mv /usr/local/bin/shipway.new /usr/local/bin/shipway
    systemctl reload shipway
    within 60 runs /shipway/shipway
    end_load
}

back_after_reboot() { within 120 hello_is hello && shipway releases hello; }

uninstall_it() { shipway uninstall --purge; }

nothing_left() {
    local left=0
    pgrep -af shipway | grep -v /shipway/suite && left=1
    grep -i shipway /proc/mounts && left=1
    find /sys/fs/cgroup -depth -type d -iname '*shipway*' | grep -v shipway-suite && left=1
    ip -o link | grep -v ' lo:' && left=1
    find / -xdev -iname '*shipway*' -not -path '/shipway*' -not -path '/proc/*' -not -path '/var/log/*' \
        -not -path '*/crates*' -not -path '*/debug*' -not -name '*shipway-suite*' | grep -v "^$BUILT" && left=1
    systemctl list-units --all | grep -i shipway | grep -v shipway-suite && left=1
    [ $left = 0 ]
}

if [ ! -e /shipway/rebooted ]; then
    step install install_it
    step 'install again' install_it
    step deploy deploy_it
    step 'restart under load' restart_under_load
    step 'kill -9 under load' killed_under_load
    step 'upgrade under load' upgrade_under_load
    step 'kill -9 after an upgrade' killed_after_upgrade
    step 'a bad upgrade is refused' bad_upgrade_refused
    step 'downgrade by reload under load' downgrade_by_reload
    touch /shipway/rebooted
    sync
    systemctl reboot
else
    step 'back after a reboot' back_after_reboot
    step uninstall uninstall_it
    step 'nothing is left' nothing_left
    systemctl poweroff
fi
