/** The type of the resource that makes the certificate of a pooler, or of a part of a self-managed server. */
export const CERTIFICATE_RESOURCE_TYPE = 'Custom::CdkPostgresPoolerCertificate';

/** Name of the environment variable with the ARN of the secret in which the certificate function keeps its authority. */
export const AUTHORITY_VARIABLE = 'CDK_POSTGRES_AUTHORITY';

/** What the resource gives: the root that clients trust, as PEM. */
export const CA_ATTRIBUTE = 'CaCertificate';

/** The same on one line, as it stands within a text of JSON: CloudFormation puts a value into such a text as it is, line breaks and all. */
export const CA_LINE_ATTRIBUTE = 'CaCertificateLine';

/** Whose certificate it is, where nobody asks for the name (the common name of the subject). */
export const POOLER_SUBJECT = 'cdk-postgres pooler';

/** For as long as a root is valid, in days. Clients hold it, so that it is not exchanged on the way. */
export const AUTHORITY_DAYS = 3650;

/** For as long as a certificate is valid, in days: six rotations may fail. */
export const CERTIFICATE_DAYS = 210;

/** How often it is renewed, in days. */
export const CERTIFICATE_ROTATION_DAYS = 30;
