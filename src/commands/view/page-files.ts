// The files of the page. An executable has them inside; from source they are made when the first server starts.

/** A file of the page, and the type that browsers are told. */
export interface PageFile {
  readonly text: string;
  readonly type: string;
}

/** The files by their names, as JSON. Defined by the builds; missing if the program runs from its source. */
declare const BUILD_PAGE: string | undefined;

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

/** The files of the page, by their paths. */
export async function pageFiles(): Promise<ReadonlyMap<string, PageFile>> {
  const texts: Readonly<Record<string, string>> =
    typeof BUILD_PAGE === "string"
      ? JSON.parse(BUILD_PAGE)
      : await (await import("./bundle.ts")).bundlePage();
  const files = Object.entries(texts).map(([name, text]): [string, PageFile] => {
    const type = TYPES[name.split(".").at(-1) ?? ""] ?? "text/plain";
    return [name === "index.html" ? "/" : `/${name}`, { text, type }];
  });
  return new Map(files);
}
