import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { decodeState, DesiredState, StateDocument } from '../../contract';

/** The declaration of a state resource, from its properties or, when it is large, from the file that they name. */
export async function loadState(properties: Readonly<Record<string, unknown>>): Promise<DesiredState> {
  const { State, StateAsset } = properties;
  if (State !== undefined && StateAsset !== undefined) throw new Error('State and StateAsset exclude each other');
  return decodeState(StateAsset === undefined ? State : await fetchDocument(StateAsset));
}

async function fetchDocument(asset: unknown): Promise<StateDocument> {
  const { Bucket, Key } = (asset ?? {}) as { Bucket?: unknown; Key?: unknown };
  if (typeof Bucket !== 'string' || typeof Key !== 'string') {
    throw new Error('StateAsset must name the Bucket and the Key of the declaration');
  }
  const emulated = process.env.AWS_ENDPOINT_URL_S3 ?? process.env.AWS_ENDPOINT_URL;
  const client = new S3Client({
    forcePathStyle: emulated !== undefined,
    maxAttempts: 4,
    requestHandler: { connectionTimeout: 3_000, requestTimeout: 20_000 },
  });
  try {
    const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
    return JSON.parse((await Body?.transformToString()) ?? '') as StateDocument;
  } catch (error) {
    const { name, message } = error as Error;
    throw new Error(
      `the declaration s3://${Bucket}/${Key} could not be read (${name}: ${message}); in an isolated VPC this needs the gateway endpoint of S3`,
    );
  } finally {
    client.destroy();
  }
}
