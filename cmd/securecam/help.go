package main

import (
	"maps"

	"github.com/alecthomas/kong"
)

// explain sets the help of every setting.
func explain(parser *kong.Kong) {
	help := settings()
	for _, flags := range parser.Model.AllFlags(false) {
		for _, flag := range flags {
			if len(flag.Envs) > 0 {
				flag.Help = help[flag.Envs[0]]
			}
		}
	}
}

// settings says what every setting means, by its name in the environment.
func settings() map[string]string {
	all := map[string]string{
		"LISTEN_HOST":                    "Address to listen on; empty means all.",
		"PORT":                           "TCP port of the web app and the API.",
		"DATA_DIR":                       "Folder for the database, objects, spool and secrets.",
		"LOG_LEVEL":                      "Least level to log: debug, info, warn or error.",
		"TLS_CERT_FILE":                  "PEM certificate chain; switches HTTPS on.",
		"TLS_KEY_FILE":                   "PEM key of the certificate.",
		"TLS_SELF_SIGNED":                "Serve HTTPS with a certificate made here, so that a phone may use its camera.",
		"TRUSTED_PROXIES":                "Addresses or networks of reverse proxies whose X-Forwarded headers count.",
		"DATABASE_URL":                   "postgres://... or sqlite:PATH; empty means SQLite in DATA_DIR.",
		"AUTO_MIGRATE":                   "Migrate the database at start.",
		"NATS_URL":                       "NATS servers; empty means one inside the process.",
		"CLUSTER_ROUTES":                 "Addresses of nodes, host:port; joins the NATS inside the process with theirs.",
		"CLUSTER_PORT":                   "TCP port for the other nodes, with CLUSTER_ROUTES; keep it in a private network.",
		"NODE_URL":                       "URL that reaches this very node among several: cameras and viewers of its media are sent there.",
		"BETTER_AUTH_SECRET":             "Key of all tokens and cookies, 32 characters or more; made and kept in DATA_DIR when empty.",
		"BETTER_AUTH_BASE_URL":           "Public URL of this server; empty means what the request says.",
		"BETTER_AUTH_TRUSTED_ORIGINS":    "Other origins whose pages may use the API.",
		"SIGN_UP":                        "Anybody who reaches the server may make an account; when off, only \"securecam user create\" does.",
		"DEVICE_ONLINE_STALE_SECONDS":    "A device not heard of for so long is shown offline.",
		"ADMIN_USERNAME":                 "Name of the administrator; with the password it switches /admin on.",
		"ADMIN_PASSWORD":                 "Password of the administrator, 12 characters or more.",
		"MINIO_ENDPOINT":                 "Host of an S3-compatible store; empty means a folder in DATA_DIR.",
		"MINIO_PORT":                     "Its port.",
		"MINIO_USE_SSL":                  "Speak HTTPS to it.",
		"MINIO_ACCESS_KEY":               "Its access key.",
		"MINIO_SECRET_KEY":               "Its secret key.",
		"MINIO_BUCKET":                   "Its bucket; made when absent.",
		"MINIO_PUBLIC_URL":               "URL of it for browsers, whose links only expire; empty: links to this server, which can revoke them.",
		"MAX_STORAGE_BYTES_PER_USER":     "Bytes of videos and recordings of one user; 0 is any number.",
		"MINIO_PRESIGNED_EXPIRY_SECONDS": "Life of a download URL.",
		"MEDIA_MODE":                     "single_server_sfu: cameras publish to this server; p2p: devices send each other media.",
		"MEDIA_PROVIDER":                 "sfu or p2p; empty means what MEDIA_MODE says.",
		"MEDIA_UDP_PORT":                 "UDP port of all media.",
		"MEDIA_TCP_PORT":                 "TCP port of media for those whom UDP does not reach; -1 switches it off.",
		"PUBLIC_IPS":                     "Addresses to announce to cameras and viewers besides those of the interfaces.",
		"STUN_URLS":                      "STUN servers to ask for this server's public address, stun:host[:port]; empty asks nobody.",
		"ICE_LITE":                       "Answer connectivity checks and send none: for a server that everybody reaches directly.",
		"CONSENT_TIMEOUT_SECONDS":        "A viewer who has been silent for so long is gone, 2 to 30 s.",
		"MEDIA_TOKEN_TTL_SECONDS":        "Life of a WHIP or WHEP token.",
		"MAX_MEDIA_SESSIONS":             "Cameras that publish at a time; more are answered 503.",
		"MAX_VIEWERS":                    "WHEP sessions at a time; more are answered 503.",
		"MAX_VIEWER_SESSIONS":            "WHEP sessions of one stream at a time; its oldest makes room for another.",
		"BURST_WINDOW_MS":                "Longest that a server holds a frame's packets to send them together, 0 to 100 ms; 0 never.",
		"UDP_OFFLOAD":                    "Let the kernel split and join media packets; false for networks that cannot take it.",
		"STREAM_REQUEST_TIMEOUT_SECONDS": "A stream that no camera accepts for so long fails.",
		"PUBLISHER_TIMEOUT_SECONDS":      "A camera that stops publishing has so long to come back.",
		"VIEWER_TIMEOUT_SECONDS":         "A stream that nobody plays for so long ends.",
		"PUSH_WORKER_INTERVAL_MS":        "Time between looks at what is to be pushed or sent to webhooks; new messages do not wait for it.",
		"PUSH_MAX_ATTEMPTS":              "Attempts before a push or a webhook's message is a dead letter.",
		"PUSH_SUBJECT":                   "Whom browsers' push services may turn to: mailto:you@example.org or an https URL.",
		"OUTGOING_NETWORKS":              "Networks that webhooks, ntfy and push may reach although they are not public.",
		"RECORDING_STALE_SECONDS":        "A recording whose camera has not uploaded it for so long fails.",
		"RECORDING_WORKER_INTERVAL_MS":   "Time between looks for those.",
		"EVENT_STALE_SECONDS":            "An event that its camera has not renewed for so long ends.",
		"TURN_PORT":                      "UDP and TCP port of the TURN server; -1 switches it off.",
		"TURN_RELAY_PORT_MIN":            "First UDP port for relays.",
		"TURN_RELAY_PORT_MAX":            "Last UDP port for relays.",
		"TURN_PEER_NETWORKS":             "Networks that relays may reach besides each other, with MEDIA_MODE=p2p.",
		"TURN_PUBLIC_PEERS":              "Let relays reach public addresses, too, but for this server's own networks, with MEDIA_MODE=p2p.",
		"TURN_URLS":                      "Other ICE servers to hand out too.",
		"TURN_USERNAME":                  "Their user name.",
		"TURN_CREDENTIAL":                "Their password.",
	}
	maps.Copy(all, identityHelp())
	return all
}
