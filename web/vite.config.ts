import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// Built into the folder that the Rust build embeds. The oldest engine is Chrome 88; start.js keeps
// older ones on the pages without a framework.
export default defineConfig({
  base: '/workstation/app/',
  plugins: [react()],
  build: {
    outDir: '../target/web',
    emptyOutDir: true,
    target: 'chrome88',
    cssTarget: 'chrome88',
    modulePreload: false,
    license: { fileName: 'licences.md' },
    assetsDir: '',
    // The browsers fetch it from the same building; the warning is about telephones.
    chunkSizeWarningLimit: 2000,
    rollupOptions: {
      input: { main: 'src/main.tsx' },
      output: { entryFileNames: '[name]-[hash].js', assetFileNames: '[name]-[hash][extname]' },
    },
  },
});
