/** Some symbols of a market, a few times a second. */
import { useState } from "react";
import { Card, StockCard } from "../leaves";
import { useSseTyped } from "../sse";
import type { StockPrice } from "../types";

export function Stocks({ symbols }: { symbols: readonly string[] }) {
  const [prices, setPrices] = useState<Record<string, StockPrice>>({});

  const { status, error } = useSseTyped<StockPrice>("/api/stock-prices", {
    eventTypes: ["price-update"],
    filter: ({ symbol }) => symbols.includes(symbol), // `keys: symbols` would filter on the server, in a stream of its own
    onMessage: (price) => setPrices((all) => ({ ...all, [price.symbol]: price })),
  });

  return (
    <Card title="Stocks" status={status} error={error} wide>
      <div className="stocks">
        {symbols.map((symbol) => (
          <StockCard key={symbol} symbol={symbol} price={prices[symbol]?.price} change={prices[symbol]?.changePercent} />
        ))}
      </div>
    </Card>
  );
}
