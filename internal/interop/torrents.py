"""libtorrent as a uTP peer, driven by lines on standard input. Run it with the Python that has the binding.

  seed TORRENT DIR      has all of it, in DIR, and gives it to whoever asks   > added HASH
  fetch TORRENT DIR     wants all of it                                       > added HASH, > finished HASH
  dial HASH PORT        connects to a peer of 127.0.0.1
  listen                > listening PORT
  remove HASH           and with it its connections                           > removed HASH
  exit

Reports: > connected HASH PORT · disconnected HASH REASON, where PORT is the peer's and the reason is one word.

Everything but uTP between 127.0.0.1 and itself is off. It makes one connection from each torrent to one address.
"""

import os
import select
import sys
import time
import traceback

import libtorrent as lt

session = lt.session({
    'listen_interfaces': '127.0.0.1:0',
    'enable_incoming_tcp': False,
    'enable_outgoing_tcp': False,
    'enable_dht': False,
    'enable_lsd': False,
    'enable_upnp': False,
    'enable_natpmp': False,
    'in_enc_policy': 2,   # no encryption
    'out_enc_policy': 2,
    'allow_multiple_connections_per_ip': True,
    'connections_limit': 2000,
    'connection_speed': 1000,
    'min_reconnect_time': 1,
    'unchoke_slots_limit': -1,
    'allowed_fast_set_size': 0,  # nothing before we have said that we are interested
    'mixed_mode_algorithm': 0,   # no limit for uTP for TCP's sake
    'rate_limit_ip_overhead': False,
    'alert_queue_size': 100000,
    'alert_mask': lt.alert.category_t.status_notification | lt.alert.category_t.peer_notification
    | lt.alert.category_t.connect_notification | lt.alert.category_t.error_notification,
})
torrents = {}


def report(*words):
    print(*words, flush=True)


def name(handle):
    return str(handle.info_hash())


def add(torrent, directory, flags):
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = directory
    params.flags = flags
    handle = session.add_torrent(params)
    torrents[name(handle)] = handle
    # Before that it turns peers away.
    states = lt.torrent_status.states
    while handle.status().state not in (states.downloading, states.seeding, states.finished):
        time.sleep(0.002)
    report('added', name(handle))


def watch():
    for alert in session.pop_alerts():
        if isinstance(alert, lt.peer_connect_alert):
            report('connected', name(alert.handle), alert.endpoint[1])
        elif isinstance(alert, lt.peer_disconnected_alert):
            report('disconnected', name(alert.handle), alert.error.message().replace(' ', '_') or 'none')
        elif isinstance(alert, lt.torrent_finished_alert):
            report('finished', name(alert.handle))
        elif isinstance(alert, lt.torrent_removed_alert):
            report('removed', str(alert.info_hash))
        elif isinstance(alert, (lt.torrent_error_alert, lt.file_error_alert, lt.listen_failed_alert, lt.peer_error_alert)):
            report('note', alert.message().replace(' ', '_'))


def command(word, *args):
    if word == 'listen':
        report('listening', session.listen_port())
    elif word == 'seed':
        add(*args, lt.torrent_flags.seed_mode)
    elif word == 'fetch':
        add(*args, lt.torrent_flags.default_flags & ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused))
    elif word == 'dial':
        torrents[args[0]].connect_peer(('127.0.0.1', int(args[1])))
    elif word == 'remove':
        session.remove_torrent(torrents.pop(args[0]))
    elif word == 'exit':
        os._exit(0)
    else:
        raise ValueError(word)


def run():
    # One thread: with a second one for the alerts the binding crashes now and then.
    waiting = b''
    while True:
        if select.select([0], [], [], 0.005)[0]:
            piece = os.read(0, 65536)
            if not piece:
                return
            *lines, waiting = (waiting + piece).split(b'\n')
            for line in lines:
                command(*line.decode().split())
        watch()


try:
    run()
except Exception:
    traceback.print_exc()
# At once: a session that is destroyed waits for its connections.
sys.stderr.flush()
os._exit(0)
