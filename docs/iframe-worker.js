// Browsers start no worker on pages that are opened from disk. There the search runs in a hidden frame, which is asked
// and answers as a worker would.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inner = frame.contentWindow;
      const load = (address) =>
        new Promise((resolve, reject) => {
          const script = this.inner.document.createElement("script");
          script.onload = resolve;
          script.onerror = reject;
          script.src = address;
          this.inner.document.body.append(script);
        });
      this.inner.importScripts = (...addresses) => Promise.all(addresses.map(load));
      this.inner.postMessage = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        this.onmessage?.(event);
      };
      this.ready = load(url);
    }

    async postMessage(data) {
      await this.ready;
      this.inner.dispatchEvent(new MessageEvent("message", { data }));
    }

    terminate() {
      this.inner.frameElement?.remove();
    }
  };
}
