// aws-cdk-lib validates every template in each synthesis: 1.6 s and 280 MB a process. The suite that needs it turns it on again.
process.env.CDK_VALIDATION ??= 'false';
process.env.JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION ??= '1';
