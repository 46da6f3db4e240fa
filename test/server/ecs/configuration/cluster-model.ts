import { ClusterModel } from '../../../../lib/server/ecs/configuration';

/** A cluster that is configured as a production is. */
export function model(changes: Partial<ClusterModel> = {}): ClusterModel {
  return {
    name: 'orders',
    namespace: 'orders.internal',
    majorVersion: 18,
    members: 3,
    synchronous: true,
    parameters: {},
    networks: ['10.0.0.0/16'],
    hba: [],
    routerHosts: ['orders.example.com'],
    backup: { bucket: 'orders-backups', region: 'eu-central-1', retentionDays: 14 },
    ...changes,
  };
}
