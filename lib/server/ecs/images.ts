import { aws_ec2 as ec2, aws_ecr_assets as assets, aws_ecs as ecs } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { ClusterImageName, clusterImage } from '../package-root';
import type { TaskImage } from './tasks';

/** Images of your own, with the entrypoints of those that come with this package. You then keep what is in them up to date. */
export interface EcsImages {
  /**
   * PostgreSQL, Patroni and pgBackRest.
   *
   * @default - built from the folder of this package when the app is deployed, which needs Docker
   */
  readonly postgres?: ecs.ContainerImage;

  /**
   * The store of the cluster's leadership.
   *
   * @default - built from the folder of this package when the app is deployed
   */
  readonly etcd?: ecs.ContainerImage;

  /**
   * HAProxy.
   *
   * @default - built from the folder of this package when the app is deployed
   */
  readonly router?: ecs.ContainerImage;
}

/** The images of a cluster, for one major version and the processors of its hosts. */
export function clusterImages(
  scope: Construct,
  given: EcsImages,
  options: { readonly majorVersion: number; readonly architecture: ec2.InstanceArchitecture },
): Record<ClusterImageName, TaskImage> {
  const platform =
    options.architecture === ec2.InstanceArchitecture.ARM_64
      ? assets.Platform.LINUX_ARM64
      : assets.Platform.LINUX_AMD64;
  const made = (name: ClusterImageName, buildArgs?: Record<string, string>): TaskImage =>
    given[name] ??
    new assets.DockerImageAsset(scope, `${name[0]!.toUpperCase()}${name.slice(1)}Image`, {
      directory: clusterImage(name),
      platform,
      buildArgs,
    });
  return {
    postgres: made('postgres', { POSTGRES_MAJOR: String(options.majorVersion) }),
    etcd: made('etcd'),
    router: made('router'),
  };
}
