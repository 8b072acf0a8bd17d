#!/bin/bash
# Watchdog of the simulated OBProxy. It behaves like the one described in docs/reference/obproxy.md 1.3, traps included:
# processes are told apart by nothing but their name, host-wide; a proxy that does not answer gets a second one beside it.
set -u

COMMAND= USE_RS_LIST=
APPNAME=${APPNAME:-}
OBPROXY_PORT=${OBPROXY_PORT:-2883}
OBPROXY_IDC_NAME=${OBPROXY_IDC_NAME:-}
OBPROXY_CONFIG_SERVER_URL=${OBPROXY_CONFIG_SERVER_URL:-}
ENABLE_ROOT_SERVER=${ENABLE_ROOT_SERVER:-}
ROOT_SERVER_CLUSTER_NAME=${ROOT_SERVER_CLUSTER_NAME:-}
ROOT_SERVER_LIST=${ROOT_SERVER_LIST:-}
WORK_THREAD_NUM=${WORK_THREAD_NUM:-8}
OBPROXY_EXTRA_OPT=${OBPROXY_EXTRA_OPT:-}

LOG_DIRECTORY=/home/admin/logs/obproxy/log
FIRST_PAUSE=8 # seconds that a first launch gets before it is judged

usage() {
    echo "usage: $0 -c start|stop|status|checkalive [-n app] [-p port] [-i idc] [-u config_url] [-r] [-s cluster] [-t rs_list]"
}

enter_home() {
    cd "$(dirname "$(readlink -f "$0")")/.." || exit 1
    if [ ! -x bin/obproxy ]; then
        echo "$PWD/bin/obproxy does not exist"
        exit 1
    fi
    if [ ! -e log ] && [ ! -L log ] && [ -d "$LOG_DIRECTORY" ]; then
        ln -s "$LOG_DIRECTORY" log
    fi
}

# Pids of processes whose comm is $1, like ps -C, without starting a program each second.
pids_of() {
    local directory comm
    pids=()
    for directory in /proc/[0-9]*; do
        # A process may end between the two looks.
        { read -r comm <"$directory/comm"; } 2>/dev/null || continue
        [ "$comm" = "$1" ] && pids+=("${directory#/proc/}")
    done
}

watchdogs() {
    local pid line
    pids_of obproxyd.sh
    alive=()
    for pid in "${pids[@]}"; do
        { line=$(tr '\0' ' ' <"/proc/$pid/cmdline"); } 2>/dev/null || continue
        [[ $line == *"-c checkalive"* && $pid != "$$" ]] && alive+=("$pid")
    done
}

answers() {
    # Without nc this is always false: the next look then launches another instance.
    nc -w 2 127.0.0.1 "$OBPROXY_PORT" <<<hi >/dev/null 2>&1
}

launch() {
    local options="$1" arguments=(-p "$OBPROXY_PORT")
    [ -n "$APPNAME" ] && arguments+=(-n "$APPNAME")
    if [ -n "$USE_RS_LIST$ENABLE_ROOT_SERVER" ]; then
        arguments+=(-r "$ROOT_SERVER_LIST" -c "$ROOT_SERVER_CLUSTER_NAME")
    elif [ -n "$OBPROXY_CONFIG_SERVER_URL" ]; then
        options="obproxy_config_server_url=$OBPROXY_CONFIG_SERVER_URL${options:+,$options}"
    fi
    [ -n "$options" ] && arguments+=(-o "$options")
    ./bin/obproxy "${arguments[@]}" >/dev/null 2>&1
}

first_options() {
    local options="server_detect_mode=0,enable_primary_zone=false,enable_cached_server=true"
    options+=",enable_get_rslist_remote=true,monitor_stat_dump_interval=1s,enable_qos=true,enable_standby=false"
    options+=",query_digest_time_threshold=2ms,monitor_cost_ms_unit=true,enable_strict_kernel_release=false"
    options+=",enable_proxy_scramble=true,work_thread_num=$WORK_THREAD_NUM,proxy_mem_limited=2G,log_dir_size_threshold=10G"
    [ -n "$OBPROXY_IDC_NAME" ] && options+=",proxy_idc_name=$OBPROXY_IDC_NAME"
    echo "$options${OBPROXY_EXTRA_OPT:+,$OBPROXY_EXTRA_OPT}"
}

checkalive() {
    local first=yes
    exec 3<> <(:)
    while true; do
        pids_of obproxy
        if [ ${#pids[@]} -eq 0 ] || ! answers; then
            if [ -n "$first" ]; then
                launch "$(first_options)"
                read -r -t "$FIRST_PAUSE" -u 3
            else
                launch ""
            fi
        fi
        first=
        read -r -t 1 -u 3
    done
}

start() {
    watchdogs
    if [ ${#alive[@]} -gt 0 ]; then
        echo "obproxyd.sh is already started"
        return
    fi
    export APPNAME OBPROXY_PORT OBPROXY_IDC_NAME OBPROXY_CONFIG_SERVER_URL ENABLE_ROOT_SERVER
    export ROOT_SERVER_CLUSTER_NAME ROOT_SERVER_LIST WORK_THREAD_NUM OBPROXY_EXTRA_OPT
    nohup setsid ./bin/obproxyd.sh -c checkalive -n "$APPNAME" -p "$OBPROXY_PORT" ${USE_RS_LIST:+-r} \
        </dev/null >/dev/null 2>&1 &
}

stop() {
    local round
    watchdogs
    [ ${#alive[@]} -gt 0 ] && kill -9 "${alive[@]}"
    pids_of obproxy
    [ ${#pids[@]} -gt 0 ] && kill -15 "${pids[@]}"
    for round in 1 2 3; do
        sleep 1
        pids_of obproxy
        [ ${#pids[@]} -eq 0 ] && return
    done
    kill -9 "${pids[@]}"
}

status() {
    pids_of obproxy
    [ ${#pids[@]} -gt 0 ] && echo "obproxy is running: ${pids[*]}" || echo "obproxy is stopped"
}

while getopts "c:n:i:p:rs:t:u:ah" option; do
    case $option in
        c) COMMAND=$OPTARG ;;
        n) APPNAME=$OPTARG ;;
        i) OBPROXY_IDC_NAME=$OPTARG ;;
        p) OBPROXY_PORT=$OPTARG ;;
        r) USE_RS_LIST=yes ;;
        s) ROOT_SERVER_CLUSTER_NAME=$OPTARG ;;
        t) ROOT_SERVER_LIST=$OPTARG ;;
        u) OBPROXY_CONFIG_SERVER_URL=$OPTARG ;;
        a) ;;
        h) usage; exit 0 ;;
        *) usage; exit 255 ;;
    esac
done

case $COMMAND in
    start | stop | status | checkalive)
        enter_home
        "$COMMAND"
        exit 0
        ;;
    *)
        usage
        exit 255
        ;;
esac
