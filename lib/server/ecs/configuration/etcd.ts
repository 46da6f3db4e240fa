import {
  ClusterModel,
  etcdHost,
  etcdName,
  ETCD_CLIENT_PORT,
  ETCD_METRICS_PORT,
  ETCD_PEER_PORT,
  ETCD_VOLUME,
  numbers,
} from './model';
import { TLS } from './files';

/**
 * The environment of an etcd member. It begins a new cluster with the others; the entrypoint lets it join them instead where they have one
 * already and its volume is empty.
 */
export function etcdEnvironment(model: ClusterModel, n: number): Record<string, string> {
  const peer = (other: number) => `https://${etcdHost(model, other)}:${ETCD_PEER_PORT}`;
  return {
    ETCD_NAME: etcdName(n),
    ETCD_DATA_DIR: `${ETCD_VOLUME}/data`,
    ETCD_LISTEN_PEER_URLS: `https://0.0.0.0:${ETCD_PEER_PORT}`,
    ETCD_LISTEN_CLIENT_URLS: `https://0.0.0.0:${ETCD_CLIENT_PORT}`,
    ETCD_LISTEN_METRICS_URLS: `http://127.0.0.1:${ETCD_METRICS_PORT}`,
    ETCD_ADVERTISE_CLIENT_URLS: `https://${etcdHost(model, n)}:${ETCD_CLIENT_PORT}`,
    ETCD_INITIAL_ADVERTISE_PEER_URLS: peer(n),
    ETCD_INITIAL_CLUSTER: numbers(model)
      .map((other) => `${etcdName(other)}=${peer(other)}`)
      .join(','),
    ETCD_INITIAL_CLUSTER_TOKEN: model.name,
    ETCD_INITIAL_CLUSTER_STATE: 'new',
    ETCD_CERT_FILE: TLS.certificate,
    ETCD_KEY_FILE: TLS.key,
    ETCD_TRUSTED_CA_FILE: TLS.ca,
    ETCD_CLIENT_CERT_AUTH: 'true',
    ETCD_PEER_CERT_FILE: TLS.certificate,
    ETCD_PEER_KEY_FILE: TLS.key,
    ETCD_PEER_TRUSTED_CA_FILE: TLS.ca,
    ETCD_PEER_CLIENT_CERT_AUTH: 'true',
    // Patroni rewrites the same few keys for ever.
    ETCD_AUTO_COMPACTION_MODE: 'periodic',
    ETCD_AUTO_COMPACTION_RETENTION: '1h',
  };
}
