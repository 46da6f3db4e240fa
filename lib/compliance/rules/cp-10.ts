import { UNKNOWN, isTrue } from '../template/value';
import { Rule } from './rule';

export const CP_10: Rule = {
  id: 'CP-10',
  level: 'error',
  asks: 'an RDS Proxy takes TLS alone, and logs no statements',
  fix: 'Set requireTLS: true and leave debugLogging out.',
  check: (template) =>
    template
      .ofType('AWS::RDS::DBProxy')
      .filter((proxy) => proxy.get('EngineFamily') === 'POSTGRESQL')
      .flatMap((resource) => {
        const tls = resource.get('RequireTLS');
        if (tls !== UNKNOWN && !isTrue(tls))
          return [{ resource, property: 'RequireTLS', reason: 'clients may connect to the proxy without TLS' }];
        return isTrue(resource.get('DebugLogging'))
          ? [{ resource, property: 'DebugLogging', reason: 'the proxy logs the text of statements, with their values' }]
          : [];
      }),
};
