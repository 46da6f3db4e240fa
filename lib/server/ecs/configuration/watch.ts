import { MEMBER_WATCH_PORT } from '../../../contract';
import { TLS } from './files';
import { ClusterModel, MEMBER_VOLUME, RUN_FOLDER } from './model';

/** How often the repository is looked at, in seconds: each look asks S3 for its lists. */
const BACKUP_INTERVAL = 600;

/** What the watch of a member is told (lib/images/postgres/watch.py). */
export function watchConfiguration(model: ClusterModel): string {
  const document = {
    address: '0.0.0.0',
    port: MEMBER_WATCH_PORT,
    volume: MEMBER_VOLUME,
    data: `${MEMBER_VOLUME}/data`,
    socket: RUN_FOLDER,
    certificate: TLS.certificate,
    key: TLS.key,
    ca: TLS.ca,
    ...(model.backup ? { stanza: model.name, backupInterval: BACKUP_INTERVAL } : {}),
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}
