export const ROTATION_STEPS = ['createSecret', 'setSecret', 'testSecret', 'finishSecret'] as const;
export type RotationStep = (typeof ROTATION_STEPS)[number];

/** What Secrets Manager calls a rotation function with, once for each step. */
export interface RotationEvent {
  readonly step: RotationStep;
  /** ARN of the secret. */
  readonly secret: string;
  /** Id of the version that is to become the current one. */
  readonly token: string;
}

export function readRotationEvent(event: unknown): RotationEvent {
  const { Step, SecretId, ClientRequestToken } = (event ?? {}) as Record<string, unknown>;
  const step = ROTATION_STEPS.find((known) => known === Step);
  if (!step) {
    throw new Error(`the event's Step is ${JSON.stringify(Step)}: it does not come from a rotation of Secrets Manager`);
  }
  if (typeof SecretId !== 'string' || !/^arn:[a-z0-9-]+:secretsmanager:[a-z0-9-]+:\d{12}:secret:.+$/.test(SecretId)) {
    throw new Error(`the event's SecretId is ${JSON.stringify(SecretId)}, and not the ARN of a secret`);
  }
  if (typeof ClientRequestToken !== 'string' || !/^[A-Za-z0-9-]{32,64}$/.test(ClientRequestToken)) {
    throw new Error(
      `the event's ClientRequestToken is ${JSON.stringify(ClientRequestToken)}, and not the id of a version`,
    );
  }
  return { step, secret: SecretId, token: ClientRequestToken };
}
