// aws-cdk-lib validates every template in each synthesis: 1.6 s and 280 MB a process. The suite that needs it turns it on again.
process.env.CDK_VALIDATION ??= 'false';
// The end of Node.js 20's life, said once by every process that a test starts. jsii's names the majors to be silent about.
process.env.JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION ??= '20';
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true';
