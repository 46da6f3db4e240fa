import { IConstruct } from 'constructs';
import { addFinding } from '../../compliance';
import { isPointInTimeCluster } from './restore';

/** PostgreSQL's own, which Aurora gives to a cluster that is restored to a point in time without a port. */
const ENGINE_PORT = 5432;

/** The port that a restored server has unless somebody says otherwise. Undefined: that of every new server. */
export function restoredPort(props: object): number | undefined {
  return isPointInTimeCluster(props) ? ENGINE_PORT : undefined;
}

/**
 * CloudFormation's handler of `AWS::RDS::DBCluster` gives RestoreDBClusterToPointInTime no port, nor the ModifyDBCluster that follows it, and the
 * API then takes the engine's default. The functions would look for the server where it is not. A restore from a snapshot gets the port.
 * Source: `Translator.java` of aws-cloudformation/aws-cloudformation-resource-providers-rds, whose pull request 471 would add it and is open.
 */
export function guardRestoredPort(scope: IConstruct, props: object, port: number): void {
  addFinding(scope, {
    id: 'BK-18',
    check: () =>
      isPointInTimeCluster(props) && port !== ENGINE_PORT
        ? `${scope.node.path}: port is ${port}, and CloudFormation restores a cluster to a point in time without its port, so that it listens on ${ENGINE_PORT}`
        : undefined,
    fix: `Leave port out for the restore. To have it changed later, set it then and acknowledge guard:port; this one is acknowledged when the cluster has the port.`,
  });
}
