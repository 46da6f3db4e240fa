/** What tests of apps use, as `cdk-postgres/testing`; for TypeScript and JavaScript alone. */
export { expectAccess } from './access';
export { AcknowledgedFinding, ComplianceOptions, ComplianceReport, expectCompliant, PackName } from './compliance';
export { PreviewClient, PreviewedServer, PreviewLogin, previewServer, PreviewServerOptions } from './preview';
export { maskTemplate, templateSerializer } from './template';
