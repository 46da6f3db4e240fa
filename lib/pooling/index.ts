export { ConnectionBudget } from './budget';
export { Consumer, ServiceConsumerOptions } from './consumer';
export { ExternalPoolerOptions } from './external-pooler';
export { PgBouncerOptions } from './pgbouncer';
export { Pooler } from './pooler';
export { OwnCertificateOptions, PoolerCertificate } from './pooler-certificate';
export { IPooler, PoolerCapabilities, PoolMode } from './pooler-endpoint';
export { RdsProxyOptions } from './rds-proxy';
