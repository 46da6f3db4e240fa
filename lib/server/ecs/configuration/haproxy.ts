import {
  ClusterModel,
  memberHost,
  memberName,
  numbers,
  PATRONI_PORT,
  POSTGRES_PORT,
  READ_ONLY_PORT,
  ROUTER_HEALTH_PORT,
} from './model';
import { TLS } from './files';

/**
 * The configuration of the router. It hands TLS on to the member that Patroni calls the primary, or to one that it calls a replica, and cuts
 * sessions off from a member that no longer is.
 */
export function haproxyConfiguration(model: ClusterModel): string {
  return `global
  log stdout format raw local0 notice
  maxconn 4000
  # A task that stops lets sessions end by themselves for as long.
  hard-stop-after 100s

# Names of members follow their tasks.
resolvers dns
  parse-resolv-conf
  resolve_retries 2
  timeout resolve 1s
  timeout retry 1s
  hold valid 2s
  hold obsolete 10s

defaults
  mode tcp
  log global
  option tcp-check
  option clitcpka
  option srvtcpka
  timeout connect 3s
  timeout client 24h
  timeout server 24h
  timeout check 2s
  retries 2
  option redispatch
  default-server check port ${PATRONI_PORT} check-ssl verify required ca-file ${TLS.ca} inter 1s fastinter 500ms downinter 1s rise 1 fall 2 on-marked-down shutdown-sessions resolvers dns init-addr none

frontend health
  mode http
  bind *:${ROUTER_HEALTH_PORT}
  monitor-uri /health
  http-request use-service prometheus-exporter if { path /metrics }
  timeout client 5s
  timeout http-request 5s

${listen(model, 'primary', POSTGRES_PORT, '/primary')}
${listen(model, 'replica', READ_ONLY_PORT, model.members === 1 ? '/read-only' : '/replica')}`;
}

function listen(model: ClusterModel, name: string, port: number, path: string): string {
  const servers = numbers(model).map((n) => {
    const host = memberHost(model, n);
    return `  server ${memberName(n)} ${host}:${POSTGRES_PORT} check-sni ${host} verifyhost ${host}\n`;
  });
  return `listen ${name}
  bind *:${port}
  balance leastconn
  option httpchk
  http-check send meth GET uri ${path} ver HTTP/1.1 hdr Host patroni
  http-check expect status 200
${servers.join('')}`;
}
