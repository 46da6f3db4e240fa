/** The type of the resource that makes a pooler's certificate. */
export const CERTIFICATE_RESOURCE_TYPE = 'Custom::CdkPostgresPoolerCertificate';

/** Name of the environment variable with the ARN of the secret in which the certificate function keeps its authority. */
export const AUTHORITY_VARIABLE = 'CDK_POSTGRES_AUTHORITY';

/** What the resource gives: the root that clients trust, as PEM. */
export const CA_ATTRIBUTE = 'CaCertificate';

/** For as long as the root of a pooler is valid, in days. Clients hold it, so that it is not exchanged on the way. */
export const AUTHORITY_DAYS = 3650;

/** For as long as a certificate is valid, in days: six rotations may fail. */
export const CERTIFICATE_DAYS = 210;

/** How often it is renewed, in days. */
export const CERTIFICATE_ROTATION_DAYS = 30;
