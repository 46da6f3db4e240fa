import { Lazy } from 'aws-cdk-lib';
import { ParameterGroup } from 'aws-cdk-lib/aws-rds';
import { IConstruct } from 'constructs';
import { addFinding } from '../compliance';
import { parametersInTemplate } from './parameters/in-template';
import { requireLiteral } from './state/literals';
import { ServerState } from './state/server-state';

const PARAMETER = 'rds.allowed_extensions';

/** Which extensions may be installed on a server, by anybody (SEC-23). What is installed already stays. */
export class AllowedExtensions {
  /**
   * Those that the app declares on the server, and no others.
   *
   * @param more further ones that may be installed, as by migrations
   */
  public static declared(...more: string[]): AllowedExtensions {
    return new AllowedExtensions(true, more);
  }

  /**
   * Those that are named here, as a security team decides. An extension that the app declares and that is not among them fails the synthesis.
   *
   * @param names their names
   */
  public static only(...names: string[]): AllowedExtensions {
    return new AllowedExtensions(false, names);
  }

  private constructor(
    /** @internal */
    public readonly _takesDeclared: boolean,
    /** @internal */
    public readonly _names: readonly string[],
  ) {}
}

/** What lets a session read files or speak to other hosts from inside the server, or run code that PostgreSQL does not confine (SEC-24). */
const REACHING_OUT: Readonly<Record<string, string>> = {
  aws_lambda: 'lets sessions call Lambda functions',
  aws_s3: 'lets sessions copy data to and from S3',
  dblink: 'lets sessions connect from the server to others',
  file_fdw: "lets sessions read the server's files",
  log_fdw: "lets sessions read the server's log",
  mysql_fdw: 'lets sessions connect from the server to others',
  oracle_fdw: 'lets sessions connect from the server to others',
  plperlu: 'runs code that PostgreSQL does not confine',
  plpython3u: 'runs code that PostgreSQL does not confine',
  pltclu: 'runs code that PostgreSQL does not confine',
  postgres_fdw: 'lets sessions connect from the server to others',
  tds_fdw: 'lets sessions connect from the server to others',
};

/** Sets the allow-list of a server, and holds what is declared inside to it. */
export function limitExtensions(
  state: ServerState,
  props: { readonly allowedExtensions?: AllowedExtensions; readonly parameters?: { readonly [name: string]: string } },
): void {
  const { server } = state;
  const { allowedExtensions: allowed, parameters = {} } = props;
  if (allowed) {
    if (Object.keys(parameters).some((name) => name.toLowerCase() === PARAMETER)) {
      throw new Error(
        `${server.node.path}: allowedExtensions and the parameter ${PARAMETER} are both set; leave the parameter out`,
      );
    }
    allowed._names.forEach((name) => requireExtension(server, name));
    groupOf(server).addParameter(
      PARAMETER,
      Lazy.string({ produce: () => [...new Set([...allowed._names, ...theLanguage, ...declared()])].sort().join(',') }),
    );
  }
  // plpgsql is in every database from the start, and a dump asks for it again.
  const theLanguage = ['plpgsql'];
  const declared = () => (allowed?._takesDeclared ? state.extensions() : []);

  server.node.addValidation({
    validate: () => {
      const value = parametersInTemplate(server)?.[PARAMETER];
      if (typeof value !== 'string' || value.trim() === '*') return [];
      const list = value.split(',').map((name) => name.trim());
      const outside = state.extensions().filter((name) => !list.includes(name));
      if (outside.length === 0) return [];
      return [
        `${outside.join(', ')} ${outside.length === 1 ? 'is' : 'are'} declared by addExtension(), and ${PARAMETER} allows ${value}: add ` +
          `${outside.length === 1 ? 'it' : 'them'} there (allowedExtensions, or AllowedExtensions.declared()), or declare ${outside.length === 1 ? 'it' : 'them'} no more`,
      ];
    },
  });
  addFinding(server, {
    id: 'SEC-24',
    check: () => {
      if (state.props.profile !== 'production') return undefined;
      const found = state.extensions().filter((name) => name in REACHING_OUT);
      return found.length === 0
        ? undefined
        : `${server.node.path}: ${found.map((name) => `the extension ${name} ${REACHING_OUT[name]}`).join('; ')}`;
    },
    fix: 'Leave it out, or say why it is right here, and grant what it brings to the roles that need it alone.',
  });
}

/** The parameter is one of the cluster, or of the instance where there is none. */
function groupOf(server: IConstruct): ParameterGroup {
  return server.node.findChild('Parameters') as ParameterGroup;
}

function requireExtension(server: IConstruct, given: string): void {
  const name = requireLiteral(server, 'allowedExtensions', given);
  if (!/^[a-z0-9_][a-z0-9_-]*$/.test(name)) {
    throw new Error(
      `${server.node.path}: allowedExtensions names ${JSON.stringify(name)}, which is no name of an extension; give one such as pg_trgm`,
    );
  }
}
