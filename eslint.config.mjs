import { defineConfig, globalIgnores } from 'eslint/config';
import { importX } from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';

/** The rooms that hold constructs: they make templates and never run after a deployment. */
const CONSTRUCT_ROOMS = ['server', 'database', 'pooling', 'compliance'];

/** What only the code that runs after a deployment may use; it is bundled, and users of the package do not have it. */
const RUNTIME_PACKAGES = ['pg', 'pg/*', 'pgpass', '@aws-sdk/*', 'p-retry', 'commander', 'cli-table3', 'picocolors'];

/** What only constructs may use. */
const CONSTRUCT_PACKAGES = ['aws-cdk-lib', 'aws-cdk-lib/*', 'constructs', 'cdk-nag'];

const NO_CONSTRUCTS = 'What runs after a deployment knows the contract and nothing of the constructs.';

/** One wall between rooms: files in `target` may import nothing from `from`, but for `except`. */
const wall = (target, from, message, except = []) => ({
  target: target === 'bin' ? './bin' : `./lib/${target}`,
  from: `./lib/${from}`,
  except,
  message,
});

const refusedPackages = (group, message) => ['error', { patterns: [{ group, message }] }];

export default defineConfig(
  globalIgnores(['node_modules/', 'build/', 'assets/', 'dist/', 'coverage/', '**/cdk.out/', '**/*.d.ts']),
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommended, tseslint.configs.stylistic],
    plugins: { 'import-x': importX },
    languageOptions: {
      parserOptions: {
        project: './tsconfig.dev.json',
        tsconfigRootDir: import.meta.dirname,
      },
    },
    settings: {
      'import-x/extensions': ['.ts'],
      'import-x/resolver': { node: { extensions: ['.ts', '.js', '.mjs', '.json'] } },
    },
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'off',
      // A promise that nobody waits for is an error that nobody sees.
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: false }],
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      '@typescript-eslint/consistent-indexed-object-style': 'off', // jsii knows index signatures and no Record
      '@typescript-eslint/no-empty-function': [
        'error',
        { allow: ['private-constructors', 'constructors', 'arrowFunctions'] },
      ],
      eqeqeq: 'error',
      'no-restricted-syntax': [
        'error',
        {
          selector: "Property[key.name='rejectUnauthorized'][value.value=false]",
          message: 'TLS is always checked against a root and the host name.',
        },
      ],
      'import-x/no-cycle': ['error', { ignoreExternal: true }],
      'import-x/no-restricted-paths': [
        'error',
        {
          basePath: import.meta.dirname,
          zones: [
            wall('contract', '.', 'The contract imports nothing.', ['./contract']),
            wall('runtime', '.', NO_CONSTRUCTS, ['./runtime', './contract']),
            wall('bin', '.', NO_CONSTRUCTS, ['./runtime', './contract']),
            ...['server', 'database', 'pooling'].map((room) =>
              wall(room, 'runtime', 'A construct never imports what runs after a deployment.'),
            ),
            wall('server', 'database', 'The server does not know the database room, but for its base class.'),
            wall('pooling', 'database', 'A pooler is told what it has to know of a role.'),
            ...['server', 'database', 'pooling'].map((room) =>
              wall(room, 'testing', 'What tests of apps use is used by nothing else.'),
            ),
            ...['server', 'database', 'pooling'].map((room) =>
              wall(
                'testing',
                room,
                "It is bundled, and a copy of a construct in there is not the class of the user's app.",
              ),
            ),
            wall('compliance', '.', 'Guards know the contract alone.', ['./compliance', './contract']),
          ],
        },
      ],
    },
  },
  {
    // The base class of all servers offers the factory methods, such as addDatabase().
    files: ['lib/server/postgres-server.ts'],
    rules: {
      'import-x/no-restricted-paths': [
        'error',
        {
          basePath: import.meta.dirname,
          zones: [wall('server', 'runtime', 'A construct never imports what runs after a deployment.')],
        },
      ],
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: { '@typescript-eslint/no-explicit-any': 'off' },
  },
  {
    files: ['lib/contract/**/*.ts'],
    rules: {
      'no-restricted-imports': ['error', { patterns: [{ regex: '^[^.]', message: 'The contract imports nothing.' }] }],
    },
  },
  {
    files: ['lib/runtime/**/*.ts', 'bin/**/*.ts'],
    rules: { 'no-restricted-imports': refusedPackages(CONSTRUCT_PACKAGES, 'The runtime holds no CDK.') },
  },
  {
    files: [...['server', 'database', 'pooling'].map((room) => `lib/${room}/**/*.ts`), 'lib/index.ts'],
    rules: {
      'no-restricted-imports': refusedPackages(
        RUNTIME_PACKAGES,
        'Users of the package do not have this: it belongs to the runtime.',
      ),
    },
  },
);
