import ts from 'typescript';

/** TypeScript and Lua files of src by their path below it, such as `limit/store.ts`, with their text. */
export type House = ReadonlyMap<string, string>;

/** What breaks one rule, a line each; empty where the rule holds. */
export type Rule = (house: House) => readonly string[];

const GUARD_FOLDERS = ['client-ip', 'edge', 'observe', 'auth', 'limit', 'upload', 'worker', 'jobs', 'operator', 'env'];
const REDIS_PACKAGES = ['ioredis', 'redis', '@valkey/valkey-glide', 'cluster-key-slot'];
const JWT_FOLDER = 'auth/jwt/';
const UPLOAD_FOLDER = 'upload/';
const UPLOAD_PACKAGES = ['@fastify/busboy', 'file-type', 'sharp'];
/** Behind the name of a file that is imported as its text. */
const RAW = '?raw';
/** What stands above the house: they name what it has. */
const ENTRIES = ['index.ts', 'redis.ts'];
const FRAMEWORKS = ['express', 'fastify', 'hono'];

/** The direction of imports: adapters -> core <- guards. */
export const rules = {
  noCycles: (house) => {
    const found: string[] = [];
    const state = new Map<string, 'open' | 'done'>();
    const visit = (file: string, path: readonly string[]): void => {
      if (state.get(file) === 'done') return;
      if (state.get(file) === 'open') {
        found.push([...path.slice(path.indexOf(file)), file].join(' -> '));
        return;
      }
      state.set(file, 'open');
      for (const target of importedFiles(house, file)) visit(target, [...path, file]);
      state.set(file, 'done');
    };
    for (const file of house.keys()) visit(file, []);
    return found;
  },

  everyImportIsAFile: eachImport(({ target }, house) => target !== undefined && !house.has(target)),

  coreImportsOnlyCore: eachImport(
    ({ file, target }) => folderOf(file) === 'core' && target !== undefined && folderOf(target) !== 'core',
  ),

  onlyEntriesAreOutsideTheRooms: (house) =>
    [...house.keys()].filter((file) => folderOf(file) === '' && !ENTRIES.includes(file)),

  nothingImportsTheIndex: eachImport(({ target }) => target !== undefined && ENTRIES.includes(target)),

  guardsImportCoreAndTheirOwn: eachImport(
    ({ file, target }) =>
      GUARD_FOLDERS.includes(folderOf(file)) &&
      target !== undefined &&
      folderOf(target) !== 'core' &&
      folderOf(target) !== folderOf(file),
  ),

  adaptersImportCoreAndEachOther: eachImport(
    ({ file, target }) =>
      folderOf(file) === 'adapters' && target !== undefined && !['core', 'adapters'].includes(folderOf(target)),
  ),

  onlyAdaptersKnowFrameworks: eachImport(
    ({ file, packageName }) =>
      packageName !== undefined && FRAMEWORKS.includes(packageName) && folderOf(file) !== 'adapters',
  ),

  noFrameworkAtRunTime: eachImport(
    ({ packageName, atRunTime }) => packageName !== undefined && FRAMEWORKS.includes(packageName) && atRunTime,
  ),

  onlyTheRedisFoldersKnowRedis: eachImport(
    ({ file, target, packageName }) =>
      !isRedis(file) &&
      ((target !== undefined && isRedis(target)) ||
        (packageName !== undefined && REDIS_PACKAGES.includes(packageName))),
  ),

  onlyTheJwtFolderKnowsJose: eachImport(
    ({ file, target, packageName }) =>
      !file.startsWith(JWT_FOLDER) && (target?.startsWith(JWT_FOLDER) === true || packageName === 'jose'),
  ),

  onlyTheUploadFolderKnowsFiles: eachImport(
    ({ file, target, packageName }) =>
      !file.startsWith(UPLOAD_FOLDER) &&
      (target?.startsWith(UPLOAD_FOLDER) === true ||
        (packageName !== undefined && UPLOAD_PACKAGES.includes(packageName))),
  ),

  /** `limit` makes a memory store where none is given; nothing else of it depends on a store. */
  limitKnowsStoresByContractOnly: eachImport(
    ({ file, target }) =>
      /^limit\/[^/]+$/.test(file) &&
      target !== undefined &&
      /^limit\/(memory|redis)\//.test(target) &&
      target !== 'limit/memory/plain-memory-store.ts',
  ),

  noDumpingGround: (house) =>
    [...house.keys()].filter((file) => /(^|\/)(utils?|helpers?|types|common|misc|shared)(\.ts$|\/)/.test(file)),

  noFileOverTwoHundredFiftyLines: (house) =>
    [...house]
      // A Lua script runs as one text, so it cannot be split.
      .filter(([file, text]) => isTypeScript(file) && text.trimEnd().split('\n').length > 250)
      .map(([file]) => file),

  /** `process.emitWarning` is missing on some runtimes, where a warning would end a request with 500. */
  onlyWarningEmitsWarnings: (house) =>
    [...house]
      .filter(([file, text]) => file !== 'core/warning.ts' && text.includes('emitWarning'))
      .map(([file]) => file),

  noDefaultExport: (house) =>
    [...house]
      .filter(([file, text]) => isTypeScript(file) && parse(file, text).statements.some(exportsDefault))
      .map(([file]) => file),
} satisfies Record<string, Rule>;

function isTypeScript(file: string): boolean {
  return file.endsWith('.ts');
}

function isRedis(file: string): boolean {
  return file === 'redis.ts' || file.includes('/redis/');
}

/** Packages that src needs at run time and `dependencies` does not name. */
export function undeclaredPackages(house: House, dependencies: readonly string[]): readonly string[] {
  return eachImport(
    ({ packageName, atRunTime }) => packageName !== undefined && atRunTime && !dependencies.includes(packageName),
  )(house);
}

/** Names that an entry file gives to users and whose declaration has no TSDoc comment, as `file: name`. */
export function undocumentedExports(house: House, entry: string): readonly string[] {
  const missing: string[] = [];
  const source = parse(entry, house.get(entry) ?? '');
  for (const statement of source.statements) {
    if (ts.isExportDeclaration(statement)) {
      const { moduleSpecifier, exportClause } = statement;
      const from =
        moduleSpecifier !== undefined && ts.isStringLiteral(moduleSpecifier)
          ? fileOf(entry, moduleSpecifier.text)
          : entry;
      if (from === undefined || exportClause === undefined || !ts.isNamedExports(exportClause)) {
        missing.push(`${entry}: ${statement.getText(source)}`);
        continue;
      }
      for (const { name, propertyName } of exportClause.elements) {
        const declared = (propertyName ?? name).text;
        if (!isDocumented(parse(from, house.get(from) ?? ''), declared)) missing.push(`${from}: ${declared}`);
      }
    } else if (hasModifier(statement, ts.SyntaxKind.ExportKeyword)) {
      for (const name of declaredNames(statement)) {
        if (!isDocumented(source, name)) missing.push(`${entry}: ${name}`);
      }
    }
  }
  return missing;
}

interface Import {
  readonly file: string;
  readonly specifier: string;
  /** The file of the house, for a relative import. */
  readonly target: string | undefined;
  /** The package, for any other; undefined for Node's own modules. */
  readonly packageName: string | undefined;
  /** Whether anything is left of it in JavaScript. */
  readonly atRunTime: boolean;
}

function eachImport(breaks: (imported: Import, house: House) => boolean): Rule {
  return (house) =>
    [...house.keys()]
      .flatMap((file) => importsOf(house, file))
      .filter((imported) => breaks(imported, house))
      .map(({ file, specifier }) => `${file} imports ${specifier}`);
}

const importsByHouse = new WeakMap<House, Map<string, readonly Import[]>>();

/** Type imports and `import('...')` types included. Cached: each rule asks for the imports of every file. */
function importsOf(house: House, file: string): readonly Import[] {
  const cache = importsByHouse.get(house) ?? new Map<string, readonly Import[]>();
  importsByHouse.set(house, cache);
  const imports = cache.get(file) ?? (isTypeScript(file) ? readImports(house, file) : []);
  cache.set(file, imports);
  return imports;
}

function readImports(house: House, file: string): readonly Import[] {
  const text = house.get(file) ?? '';
  const { outputText } = ts.transpileModule(text, {
    compilerOptions: {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ESNext,
      verbatimModuleSyntax: true,
    },
  });
  const atRunTime = new Set(specifiersOf(outputText));
  return [...new Set(specifiersOf(text))].map((specifier) => ({
    file,
    specifier,
    target: fileOf(file, specifier),
    packageName: packageOf(specifier),
    // The build puts the text of a `?raw` import into the bundle.
    atRunTime: atRunTime.has(specifier) && !specifier.endsWith(RAW),
  }));
}

function specifiersOf(text: string): readonly string[] {
  return ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName);
}

function importedFiles(house: House, file: string): readonly string[] {
  return importsOf(house, file).flatMap(({ target }) => (target !== undefined && house.has(target) ? [target] : []));
}

function fileOf(from: string, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  const path = new URL(specifier, `file:///${from}`).pathname.slice(1);
  return specifier.endsWith(RAW) ? path : path.replace(/\.js$/, '.ts');
}

function packageOf(specifier: string): string | undefined {
  if (specifier.startsWith('.') || specifier.startsWith('node:')) return undefined;
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/** The folder below src, '' for a core file. */
function folderOf(file: string): string {
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : '';
}

function parse(file: string, text: string): ts.SourceFile {
  return ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
}

function hasModifier(node: ts.Node, kind: ts.SyntaxKind): boolean {
  return ts.canHaveModifiers(node) && (ts.getModifiers(node)?.some((modifier) => modifier.kind === kind) ?? false);
}

function exportsDefault(statement: ts.Statement): boolean {
  if (ts.isExportAssignment(statement)) return true;
  if (ts.isExportDeclaration(statement) && statement.exportClause !== undefined) {
    const { exportClause } = statement;
    if (ts.isNamedExports(exportClause)) return exportClause.elements.some(({ name }) => name.text === 'default');
  }
  return hasModifier(statement, ts.SyntaxKind.DefaultKeyword);
}

function declaredNames(statement: ts.Statement): readonly string[] {
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.map(({ name }) => name.getText());
  }
  if (
    ts.isFunctionDeclaration(statement) ||
    ts.isClassDeclaration(statement) ||
    ts.isInterfaceDeclaration(statement) ||
    ts.isTypeAliasDeclaration(statement)
  ) {
    return statement.name === undefined ? [] : [statement.name.text];
  }
  return [];
}

/** For overloads one comment is enough. */
function isDocumented(source: ts.SourceFile, name: string): boolean {
  return source.statements.some(
    (statement) =>
      declaredNames(statement).includes(name) && ts.getJSDocCommentsAndTags(statement).some((node) => ts.isJSDoc(node)),
  );
}
