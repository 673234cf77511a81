// Files whose text goes into the page of a report.

declare module "*.css" {
  const text: string;
  export default text;
}

declare module "*/page.js" {
  const text: string;
  export default text;
}

declare module "uplot/dist/uPlot.iife.min.js" {
  const text: string;
  export default text;
}

declare module "uplot/LICENSE" {
  const text: string;
  export default text;
}
