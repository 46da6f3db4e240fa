import { Construct } from 'constructs';
import { addFinding } from '../compliance';
import { parametersInTemplate } from './parameters/in-template';

/** Auditing is declared inside the server and loaded by its parameters; one without the other audits nothing. */
export function guardAuditing(server: Construct, roleName: string): void {
  addFinding(server, {
    id: 'SEC-20',
    check: () => {
      const parameters = parametersInTemplate(server);
      // Parameters of a server that this app does not make are seen by the deployment, which refuses an extension without its library.
      if (!parameters) return undefined;
      const { shared_preload_libraries: libraries = '', 'pgaudit.role': role } = parameters;
      if (!libraries.split(',').includes('pgaudit'))
        return `${server.node.path}: addAuditing() needs pgaudit in the parameter shared_preload_libraries, which is ${JSON.stringify(libraries)}`;
      if (role !== roleName)
        return (
          `${server.node.path}: addAuditing() audits what is granted to ${roleName}, and the parameter pgaudit.role is ` +
          (role === undefined ? 'not set' : JSON.stringify(role))
        );
      return undefined;
    },
    fix: 'Leave shared_preload_libraries and pgaudit.role as this library sets them, or name in both what the other has.',
  });
}
